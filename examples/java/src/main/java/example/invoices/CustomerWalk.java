package example.invoices;

import contact.v1.AllCustomers;
import contact.v1.ContactServiceGrpc;
import contact.v1.Purpose;
import contact.v1.StreamRecipientsRequest;
import contact.v1.StreamRecipientsResponse;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.MetadataUtils;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.time.Duration;
import java.util.concurrent.ThreadLocalRandom;

/** Resolves the invoice recipients of all customers, with as many streams as it takes. */
final class CustomerWalk {
    private static final Metadata.Key<String> AUTHORIZATION =
            Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);

    /**
     * The deadline of each message. A deadline of the whole stream would have to grow with the number of
     * customers.
     */
    private static final Duration MESSAGE_TIMEOUT = Duration.ofSeconds(60);

    private static final Duration FIRST_BACKOFF = Duration.ofMillis(500);
    private static final Duration LONGEST_BACKOFF = Duration.ofSeconds(30);

    private final ManagedChannel channel;
    private final TokenSource tokens;
    private final int attempts;

    /** The walk stops after this number of attempts in a row without a result. */
    CustomerWalk(ManagedChannel channel, TokenSource tokens, int attempts) {
        this.channel = channel;
        this.tokens = tokens;
        this.attempts = attempts;
    }

    /** Writes the results of the customers after the last one in the file. */
    void run(ResultFile file) throws IOException, StoppedException, InterruptedException {
        int failures = 0;
        while (true) {
            String last = file.lastCustomerNumber();
            try {
                readStream(file);
                return;
            } catch (StatusRuntimeException error) {
                failures = file.lastCustomerNumber().equals(last) ? failures + 1 : 1;
                if (failures >= attempts || !isRetryable(error)) {
                    throw new StoppedException(Errors.describe(error));
                }
                pause(error, failures);
            }
        }
    }

    private void readStream(ResultFile file) throws IOException, InterruptedException {
        ResponseQueue responses = open(file.lastCustomerNumber());
        try {
            StreamRecipientsResponse response;
            while ((response = responses.take(MESSAGE_TIMEOUT)) != null) {
                file.write(response.getResultsList());
                responses.requestNext();
            }
        } finally {
            responses.cancel();
        }
    }

    private ResponseQueue open(String after) throws IOException {
        Metadata metadata = new Metadata();
        metadata.put(AUTHORIZATION, "Bearer " + tokens.read());
        ResponseQueue responses = new ResponseQueue();
        StreamObserver<StreamRecipientsRequest> requests = ContactServiceGrpc.newStub(channel)
                .withInterceptors(MetadataUtils.newAttachHeadersInterceptor(metadata))
                .streamRecipients(responses);
        requests.onNext(StreamRecipientsRequest.newBuilder()
                .setPurpose(Purpose.PURPOSE_INVOICE)
                .setAllCustomers(AllCustomers.newBuilder().setAfterCustomerNumber(after))
                .build());
        requests.onCompleted();
        return responses;
    }

    private boolean isRetryable(StatusRuntimeException error) {
        Status.Code code = error.getStatus().getCode();
        return code == Status.Code.UNAVAILABLE
                || code == Status.Code.DEADLINE_EXCEEDED
                // The token of a long run expires during it; the next stream reads the file again.
                || (tokens.isReplaceable() && Errors.reason(error).equals("TOKEN_EXPIRED"));
    }

    private static void pause(StatusRuntimeException error, int failures) throws InterruptedException {
        long longest = FIRST_BACKOFF.toMillis() << Math.min(failures - 1, 10);
        longest = Math.min(longest, LONGEST_BACKOFF.toMillis());
        // Jitter: the clients of a stopped instance must not return all at once.
        long millis = ThreadLocalRandom.current().nextLong(longest / 2, longest + 1);
        millis = Math.max(millis, Errors.retryDelay(error).toMillis());
        System.err.printf("%s; retrying in %.1f s%n", Errors.describe(error), millis / 1000.0);
        Thread.sleep(millis);
    }
}
