import java.io.BufferedReader;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.regex.Pattern;

/**
 * Tests of a consumer against a real contact service, over JSON and with the JDK alone. With a test
 * framework, each method is a test; with a JSON library, {@code field} is not needed.
 *
 * <pre>CONTACT_SERVICE_BIN=contact-service java examples/testing/java/ConfirmationTest.java</pre>
 */
final class ConfirmationTest {
  private static final String CONTACT = "contact.v1.ContactService";
  private static final String TESTING = "contact.testing.v1.TestingService";
  private static final String ANNA = "anna@example.com";

  private final HttpClient client = HttpClient.newHttpClient();
  private final Process server;
  private final String http;
  private final String token;
  private final String contactId;

  private ConfirmationTest() throws Exception {
    String binary = Optional.ofNullable(System.getenv("CONTACT_SERVICE_BIN")).orElse("contact-service");
    server =
        new ProcessBuilder(binary, "serve", "--testing")
            .redirectError(ProcessBuilder.Redirect.DISCARD)
            .start();
    BufferedReader output = server.inputReader();
    String started = output.readLine();
    http = field(started, "http").orElseThrow();
    token = field(started, "token").orElseThrow();
    call(CONTACT, "UpdateCustomer", "{\"customer\":{\"customer_number\":\"K-1\"},\"allow_missing\":true}");
    String created =
        call(
            CONTACT,
            "CreateContact",
            "{\"customer_number\":\"K-1\",\"email\":\"" + ANNA + "\",\"contact\":"
                + "{\"display_name\":\"Anna\",\"types\":[\"CONTACT_TYPE_STANDARD\"]}}");
    contactId = field(created, "contactId").orElseThrow();
  }

  public static void main(String[] arguments) throws Exception {
    run(ConfirmationTest::linkOfTheMailConfirmsTheAddress);
    run(ConfirmationTest::addressExpiresAfterSevenDays);
    System.out.println("2 tests passed");
  }

  private void linkOfTheMailConfirmsTheAddress() throws Exception {
    call(CONTACT, "ConfirmEmail", "{\"token\":\"" + confirmationToken() + "\"}");
    check(contact().contains("\"email\":\"" + ANNA + "\""), "the address is confirmed");
    check(!contact().contains("pendingEmail"), "no address is pending");
  }

  private void addressExpiresAfterSevenDays() throws Exception {
    check(contact().contains("pendingEmail"), "the address is pending");
    call(TESTING, "AdvanceClock", "{\"by\":\"" + TimeUnit.DAYS.toSeconds(7) + "s\"}");
    check(!contact().contains("pendingEmail"), "the address has expired");
    String failure = call(CONTACT, "ConfirmEmail", "{\"token\":\"" + confirmationToken() + "\"}");
    check(failure.contains("CONFIRMATION_EXPIRED"), "the link has expired");
  }

  private String contact() throws Exception {
    String request = "{\"customer_number\":\"K-1\",\"contact_id\":\"" + contactId + "\"}";
    return call(CONTACT, "GetContact", request);
  }

  private String confirmationToken() throws Exception {
    String mails = call(TESTING, "ListMails", "{\"to\":\"" + ANNA + "\"}");
    return field(mails, "link").orElseThrow().split("#")[1];
  }

  private String call(String service, String method, String request) throws Exception {
    HttpRequest call =
        HttpRequest.newBuilder(URI.create(http + "/" + service + "/" + method))
            .header("content-type", "application/json")
            .header("authorization", "Bearer " + token)
            .POST(HttpRequest.BodyPublishers.ofString(request))
            .build();
    return client.send(call, HttpResponse.BodyHandlers.ofString()).body();
  }

  /** Returns the first text field with this name. */
  private static Optional<String> field(String json, String name) {
    var matcher = Pattern.compile("\"" + name + "\":\"([^\"]*)\"").matcher(json);
    return matcher.find() ? Optional.of(matcher.group(1)) : Optional.empty();
  }

  private interface Body {
    void run(ConfirmationTest test) throws Exception;
  }

  /** Runs a test with a service of its own. */
  private static void run(Body body) throws Exception {
    ConfirmationTest test = new ConfirmationTest();
    try {
      body.run(test);
    } finally {
      test.server.destroy();
      test.server.waitFor();
    }
  }

  private static void check(boolean holds, String what) {
    if (!holds) {
      throw new AssertionError("not so: " + what);
    }
  }
}
