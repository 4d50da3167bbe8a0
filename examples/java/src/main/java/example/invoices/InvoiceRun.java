package example.invoices;

import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import java.io.IOException;
import java.util.concurrent.TimeUnit;

/**
 * Writes how each customer gets its invoice: by e-mail to which addresses, or by post.
 *
 * <p>Usage: see {@link Options#USAGE}.
 */
public final class InvoiceRun {
    private InvoiceRun() {}

    public static void main(String[] arguments) throws InterruptedException {
        Options options;
        try {
            options = Options.parse(arguments);
        } catch (IllegalArgumentException error) {
            System.err.println(error.getMessage());
            System.err.println(Options.USAGE);
            System.exit(2);
            return;
        }
        ManagedChannel channel = channel(options.target());
        try {
            run(options, channel);
        } catch (IOException | StoppedException error) {
            System.err.printf("%s; continue with --resume%n", error.getMessage());
            System.exit(1);
        } finally {
            channel.shutdownNow();
        }
    }

    private static void run(Options options, ManagedChannel channel)
            throws IOException, StoppedException, InterruptedException {
        Summary summary = new Summary();
        try (ResultFile file = ResultFile.open(options.output(), options.resume(), summary)) {
            TokenSource tokens = new TokenSource(options.tokenFile());
            new CustomerWalk(channel, tokens, options.attempts()).run(file);
        }
        System.err.println(summary);
    }

    private static ManagedChannel channel(String target) {
        return ManagedChannelBuilder.forTarget(target)
                // Only for a service on the same machine: without TLS the token can be read on its way.
                .usePlaintext()
                // As proto/contact/v1/service_config.json asks, without its retries: the walk resumes
                // by itself, also a stream that has delivered results already.
                .defaultLoadBalancingPolicy("round_robin")
                .disableRetry()
                // The stream may last for hours, so it has no deadline. Pings notice a lost connection.
                .keepAliveTime(20, TimeUnit.SECONDS)
                .keepAliveTimeout(10, TimeUnit.SECONDS)
                .build();
    }
}
