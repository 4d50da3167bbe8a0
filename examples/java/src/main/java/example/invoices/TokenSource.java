package example.invoices;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** The access token: the contents of a file, or the variable CONTACT_SERVICE_TOKEN. */
final class TokenSource {
    private final Path file;

    /** Takes the token from a file, or from the environment if the file is null. */
    TokenSource(Path file) {
        this.file = file;
    }

    /** Reads the token. A file is read again each time, because its owner replaces expired tokens. */
    String read() throws IOException {
        String token = file == null ? System.getenv("CONTACT_SERVICE_TOKEN") : Files.readString(file);
        return token == null ? "" : token.strip();
    }

    /** Returns true if an expired token can be replaced during the run. */
    boolean isReplaceable() {
        return file != null;
    }
}
