package example.invoices;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import com.google.rpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import java.time.Duration;
import java.util.Optional;

/** Reads the details of errors. Programs compare the reason; the text is for people. */
final class Errors {
    private Errors() {}

    /** Returns the reason of an error, such as CUSTOMER_NOT_FOUND, or else the name of its code. */
    static String reason(Status status) {
        return detail(status, ErrorInfo.class)
                .map(ErrorInfo::getReason)
                .orElseGet(() -> io.grpc.Status.fromCodeValue(status.getCode()).getCode().name());
    }

    static String reason(StatusRuntimeException error) {
        return reason(StatusProto.fromThrowable(error));
    }

    /** Returns the time that the service asks the client to wait, or zero. */
    static Duration retryDelay(StatusRuntimeException error) {
        return detail(StatusProto.fromThrowable(error), RetryInfo.class)
                .map(RetryInfo::getRetryDelay)
                .map(delay -> Duration.ofSeconds(delay.getSeconds(), delay.getNanos()))
                .orElse(Duration.ZERO);
    }

    /** Returns code, reason and text in one line. */
    static String describe(StatusRuntimeException error) {
        String code = error.getStatus().getCode().name();
        String reason = reason(error);
        String name = reason.equals(code) ? code : code + " " + reason;
        return name + ": " + error.getStatus().getDescription();
    }

    private static <T extends Message> Optional<T> detail(Status status, Class<T> type) {
        for (Any detail : status.getDetailsList()) {
            if (detail.is(type)) {
                try {
                    return Optional.of(detail.unpack(type));
                } catch (InvalidProtocolBufferException error) {
                    return Optional.empty();
                }
            }
        }
        return Optional.empty();
    }
}
