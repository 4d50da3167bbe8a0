"""Tests of a consumer against a real contact service, with nothing but the standard library.

    CONTACT_SERVICE_BIN=contact-service python3 -m unittest discover examples/testing/python
"""

import json
import os
import subprocess
import unittest
import urllib.error
import urllib.request

BINARY = os.environ.get("CONTACT_SERVICE_BIN", "contact-service")
CONTACT = "contact.v1.ContactService"
TESTING = "contact.testing.v1.TestingService"


class ContactService:
    """A service with an empty database, which ends with the test."""

    def __init__(self):
        self.process = subprocess.Popen(
            [BINARY, "serve", "--testing"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self.started = json.loads(self.process.stdout.readline())

    def call(self, service, method, **request):
        """Returns the response; raises RuntimeError with the reason of a failure."""
        call = urllib.request.Request(
            f"{self.started['http']}/{service}/{method}",
            json.dumps(request).encode(),
            {
                "content-type": "application/json",
                "authorization": f"Bearer {self.started['token']}",
            },
        )
        try:
            with urllib.request.urlopen(call, timeout=10) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            failure = json.load(error)
            info = next(d for d in failure["details"] if d["type"] == "google.rpc.ErrorInfo")
            raise RuntimeError(info["debug"]["reason"]) from None

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=30)
        self.process.stdout.close()


class ConfirmationTest(unittest.TestCase):
    def setUp(self):
        self.service = ContactService()
        self.addCleanup(self.service.stop)
        self.service.call(
            CONTACT, "UpdateCustomer", customer={"customer_number": "K-1"}, allow_missing=True
        )
        created = self.service.call(
            CONTACT,
            "CreateContact",
            customer_number="K-1",
            email="anna@example.com",
            contact={"display_name": "Anna", "types": ["CONTACT_TYPE_STANDARD"]},
        )
        self.contact_id = created["contact"]["contactId"]

    def contact(self):
        found = self.service.call(
            CONTACT, "GetContact", customer_number="K-1", contact_id=self.contact_id
        )
        return found["contact"]

    def test_link_of_the_mail_confirms_the_address(self):
        [mail] = self.service.call(TESTING, "ListMails", to="anna@example.com")["mails"]
        token = mail["link"].rpartition("#")[2]
        self.service.call(CONTACT, "ConfirmEmail", token=token)
        self.assertEqual(self.contact()["email"], "anna@example.com")

    def test_address_expires_after_seven_days(self):
        self.assertEqual(self.contact()["pendingEmail"]["email"], "anna@example.com")
        self.service.call(TESTING, "AdvanceClock", by=f"{7 * 24 * 3600}s")
        self.assertNotIn("pendingEmail", self.contact())
        [mail, *_] = self.service.call(TESTING, "ListMails", to="anna@example.com")["mails"]
        token = mail["link"].rpartition("#")[2]
        with self.assertRaisesRegex(RuntimeError, "CONFIRMATION_EXPIRED"):
            self.service.call(CONTACT, "ConfirmEmail", token=token)


if __name__ == "__main__":
    unittest.main()
