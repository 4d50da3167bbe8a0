package example.invoices;

/** The run cannot continue; the message says why. */
final class StoppedException extends Exception {
    private static final long serialVersionUID = 1L;

    StoppedException(String message) {
        super(message);
    }
}
