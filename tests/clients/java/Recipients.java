import com.google.protobuf.Any;
import com.google.rpc.ErrorInfo;
import contact.v1.ContactServiceGrpc;
import contact.v1.ErrorReason;
import contact.v1.Purpose;
import contact.v1.Recipient;
import contact.v1.ResolveRecipientsRequest;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.Metadata;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import io.grpc.stub.MetadataUtils;
import java.util.concurrent.TimeUnit;

/**
 * Resolves the recipients of an invoice with generated Java stubs.
 *
 * <p>Usage: java Recipients TARGET CUSTOMER_NUMBER (the token is in CONTACT_SERVICE_TOKEN)
 */
public final class Recipients {
    private static final Metadata.Key<String> AUTHORIZATION =
            Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);

    public static void main(String[] arguments) throws Exception {
        ManagedChannel channel = ManagedChannelBuilder.forTarget(arguments[0]).usePlaintext().build();
        try {
            print(channel, arguments[1], System.getenv("CONTACT_SERVICE_TOKEN"));
        } catch (StatusRuntimeException error) {
            System.err.println(describe(error));
            System.exit(1);
        } finally {
            channel.shutdownNow();
        }
    }

    private static void print(ManagedChannel channel, String customerNumber, String token) {
        Metadata metadata = new Metadata();
        if (token != null && !token.isEmpty()) {
            metadata.put(AUTHORIZATION, "Bearer " + token);
        }
        var request = ResolveRecipientsRequest.newBuilder()
                .setCustomerNumber(customerNumber)
                .setPurpose(Purpose.PURPOSE_INVOICE)
                .build();
        var response = ContactServiceGrpc.newBlockingStub(channel)
                .withInterceptors(MetadataUtils.newAttachHeadersInterceptor(metadata))
                .withDeadlineAfter(10, TimeUnit.SECONDS)
                .resolveRecipients(request);
        for (Recipient recipient : response.getResolution().getRecipientsList()) {
            System.out.printf("recipient: %s <%s>, %s%n",
                    recipient.getDisplayName(), recipient.getEmail(), recipient.getReason());
        }
    }

    /** Returns an error in one line, with the reason that is known to the stubs. */
    private static String describe(StatusRuntimeException error) throws Exception {
        for (Any detail : StatusProto.fromThrowable(error).getDetailsList()) {
            if (detail.is(ErrorInfo.class)) {
                ErrorInfo info = detail.unpack(ErrorInfo.class);
                ErrorReason reason = ErrorReason.valueOf("ERROR_REASON_" + info.getReason());
                return String.format("%s %s (%s): %s", error.getStatus().getCode(),
                        reason.name().substring("ERROR_REASON_".length()), info.getDomain(),
                        error.getStatus().getDescription());
            }
        }
        return error.toString();
    }
}
