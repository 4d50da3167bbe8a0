package example.invoices;

import contact.v1.Recipient;
import contact.v1.RecipientsResult;
import contact.v1.Resolution;
import java.io.BufferedReader;
import java.io.Closeable;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/**
 * The result file: CSV, one line per customer, in the order of the customer numbers.
 *
 * <p>The file itself is the state of the run. After a kill its last complete line names the customer to
 * continue after, so no line is lost or written twice.
 */
final class ResultFile implements Closeable {
    private static final String HEADER = "customer_number,delivery,emails,attention_line,error";
    private static final Pattern NEEDS_QUOTES = Pattern.compile("[,\"\r\n]");

    private final FileChannel channel;
    private final Summary summary;
    private String lastCustomerNumber = "";

    private ResultFile(FileChannel channel, Summary summary) {
        this.channel = channel;
        this.summary = summary;
    }

    /** Creates the file, or opens the one of an interrupted run and counts its customers. */
    static ResultFile open(Path path, boolean resume, Summary summary) throws IOException {
        if (!resume && Files.exists(path)) {
            throw new IOException(path + ": exists already");
        }
        FileChannel channel = FileChannel.open(
                path, StandardOpenOption.CREATE, StandardOpenOption.READ, StandardOpenOption.WRITE);
        try {
            // Two runs that write one file would double its lines. The lock ends with the process.
            if (channel.tryLock() == null) {
                throw new IOException(path + ": is written by another run");
            }
            ResultFile file = new ResultFile(channel, summary);
            file.recover(path);
            return file;
        } catch (IOException | RuntimeException error) {
            channel.close();
            throw error;
        }
    }

    /** Returns the last customer in the file, or an empty text if there is none. */
    String lastCustomerNumber() {
        return lastCustomerNumber;
    }

    /** Appends the results of one message. They are out of this process when it returns. */
    void write(List<RecipientsResult> results) throws IOException {
        StringBuilder lines = new StringBuilder();
        for (RecipientsResult result : results) {
            lines.append(line(result)).append('\n');
        }
        writeFully(lines.toString());
        for (RecipientsResult result : results) {
            lastCustomerNumber = result.getCustomerNumber();
            summary.add(delivery(result));
        }
    }

    @Override
    public void close() throws IOException {
        channel.force(true);
        channel.close();
    }

    private void recover(Path path) throws IOException {
        channel.truncate(endOfLastLine());
        channel.position(channel.size());
        if (channel.size() == 0) {
            writeFully(HEADER + "\n");
            return;
        }
        try (BufferedReader lines = Files.newBufferedReader(path)) {
            if (!HEADER.equals(lines.readLine())) {
                throw new IOException(path + ": is not a result file of this program");
            }
            String line;
            while ((line = lines.readLine()) != null) {
                // Neither of the first two columns contains a comma.
                String[] columns = line.split(",", 3);
                lastCustomerNumber = columns[0];
                summary.add(columns[1]);
            }
        }
    }

    /** Returns the length of the file without a line that a kill left incomplete. */
    private long endOfLastLine() throws IOException {
        ByteBuffer last = ByteBuffer.allocate(1);
        long end = channel.size();
        while (end > 0) {
            channel.read(last.clear(), end - 1);
            if (last.get(0) == '\n') {
                break;
            }
            end--;
        }
        return end;
    }

    private void writeFully(String text) throws IOException {
        ByteBuffer bytes = StandardCharsets.UTF_8.encode(text);
        while (bytes.hasRemaining()) {
            channel.write(bytes);
        }
    }

    private static String line(RecipientsResult result) {
        Resolution resolution = result.getResolution();
        String emails = resolution.getRecipientsList().stream()
                .map(Recipient::getEmail)
                .collect(Collectors.joining(";"));
        // A value has no line breaks, so that a line is complete if it ends with one.
        String attentionLine = resolution.getAttentionLine().replaceAll("\\R", " ");
        String error = result.hasError() ? Errors.reason(result.getError()) : "";
        return String.join(",", result.getCustomerNumber(), delivery(result), quoted(emails),
                quoted(attentionLine), quoted(error));
    }

    /** Returns EMAIL, POSTAL or NONE; the number of a value that is newer than the stubs; or nothing. */
    private static String delivery(RecipientsResult result) {
        if (!result.hasResolution()) {
            return "";
        }
        Resolution resolution = result.getResolution();
        return switch (resolution.getDelivery()) {
            case UNRECOGNIZED -> "UNKNOWN_" + resolution.getDeliveryValue();
            default -> resolution.getDelivery().name().substring("DELIVERY_".length());
        };
    }

    private static String quoted(String value) {
        return NEEDS_QUOTES.matcher(value).find() ? '"' + value.replace("\"", "\"\"") + '"' : value;
    }
}
