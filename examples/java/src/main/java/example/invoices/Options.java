package example.invoices;

import java.nio.file.Path;

/**
 * The command line.
 *
 * @param target host and port of the service
 * @param output the result file
 * @param resume true to continue the result file of an interrupted run
 * @param tokenFile a file with the access token, or null to take it from the environment
 * @param attempts the number of streams in a row that may fail without a result
 */
record Options(String target, Path output, boolean resume, Path tokenFile, int attempts) {
    static final String USAGE =
            "usage: java -jar target/invoice-run.jar --output FILE [--resume] [--target HOST:PORT]"
                    + " [--token-file FILE] [--attempts N]";

    private static final Options DEFAULTS = new Options("127.0.0.1:50051", null, false, null, 10);

    /** Parses the command line. */
    static Options parse(String[] arguments) {
        Options options = DEFAULTS;
        for (int index = 0; index < arguments.length; index++) {
            String name = arguments[index];
            options = name.equals("--resume")
                    ? options.with(name, "")
                    : options.with(name, value(arguments, ++index));
        }
        if (options.output == null) {
            throw new IllegalArgumentException("--output: is required");
        }
        return options;
    }

    private static String value(String[] arguments, int index) {
        if (index == arguments.length) {
            throw new IllegalArgumentException(arguments[index - 1] + ": is unknown or lacks a value");
        }
        return arguments[index];
    }

    private Options with(String name, String value) {
        return switch (name) {
            case "--target" -> new Options(value, output, resume, tokenFile, attempts);
            case "--output" -> new Options(target, Path.of(value), resume, tokenFile, attempts);
            case "--resume" -> new Options(target, output, true, tokenFile, attempts);
            case "--token-file" -> new Options(target, output, resume, Path.of(value), attempts);
            case "--attempts" -> new Options(target, output, resume, tokenFile, number(name, value));
            default -> throw new IllegalArgumentException(name + ": is not an option");
        };
    }

    private static int number(String name, String value) {
        try {
            return Integer.parseInt(value);
        } catch (NumberFormatException error) {
            throw new IllegalArgumentException(name + ": must be a number");
        }
    }
}
