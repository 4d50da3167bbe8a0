package example.invoices;

import java.util.Map;
import java.util.TreeMap;

/** Counts the customers of the whole run, including its interrupted parts. */
final class Summary {
    private final Map<String, Integer> customers = new TreeMap<>();

    /** Counts a customer. `delivery` is that of its line, empty if the customer has an error. */
    void add(String delivery) {
        customers.merge(delivery, 1, Integer::sum);
    }

    private int count(String delivery) {
        return customers.getOrDefault(delivery, 0);
    }

    @Override
    public String toString() {
        int total = customers.values().stream().mapToInt(Integer::intValue).sum();
        return String.format(
                "%d customers: %d by e-mail, %d by post, %d not at all, %d with an error",
                total, count("EMAIL"), count("POSTAL"), count("NONE"), count(""));
    }
}
