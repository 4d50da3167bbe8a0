package example.invoices;

import contact.v1.StreamRecipientsRequest;
import contact.v1.StreamRecipientsResponse;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.ClientCallStreamObserver;
import io.grpc.stub.ClientResponseObserver;
import java.time.Duration;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/**
 * The messages of one stream, taken by one thread.
 *
 * <p>gRPC delivers a message only after it was requested. A slow disk therefore slows down the service and
 * does not fill the memory: at most {@link #WINDOW} messages are held here.
 */
final class ResponseQueue
        implements ClientResponseObserver<StreamRecipientsRequest, StreamRecipientsResponse> {
    /** Messages in flight, so that the next one arrives while one is written. */
    private static final int WINDOW = 4;

    private final BlockingQueue<Event> events = new LinkedBlockingQueue<>();
    private ClientCallStreamObserver<StreamRecipientsRequest> call;

    /** A message, an error, or, without both, the end of the stream. */
    private record Event(StreamRecipientsResponse response, StatusRuntimeException error) {}

    @Override
    public void beforeStart(ClientCallStreamObserver<StreamRecipientsRequest> call) {
        this.call = call;
        call.disableAutoRequestWithInitial(WINDOW);
    }

    @Override
    public void onNext(StreamRecipientsResponse response) {
        events.add(new Event(response, null));
    }

    @Override
    public void onError(Throwable error) {
        Status status = Status.fromThrowable(error);
        events.add(new Event(null, status.asRuntimeException(Status.trailersFromThrowable(error))));
    }

    @Override
    public void onCompleted() {
        events.add(new Event(null, null));
    }

    /**
     * Waits for the next message. Returns null at the end of the stream.
     *
     * @throws StatusRuntimeException if the stream failed, or, with DEADLINE_EXCEEDED, if no message arrived
     *     in time
     */
    StreamRecipientsResponse take(Duration timeout) throws InterruptedException {
        Event event = events.poll(timeout.toMillis(), TimeUnit.MILLISECONDS);
        if (event == null) {
            throw Status.DEADLINE_EXCEEDED
                    .withDescription("no message within " + timeout.toSeconds() + " s")
                    .asRuntimeException();
        }
        if (event.error() != null) {
            throw event.error();
        }
        return event.response();
    }

    /** Requests one more message, in place of one that was processed. */
    void requestNext() {
        call.request(1);
    }

    /** Ends the stream. Has no effect on one that has ended. */
    void cancel() {
        call.cancel("no longer needed", null);
    }
}
