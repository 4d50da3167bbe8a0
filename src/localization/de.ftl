# Texts for customers and agents. One text per reason of an error, then one per violation of a field.

# The time to wait, after "in".
wait =
    { $unit ->
        [hours]
            { $count ->
                [one] einer Stunde
               *[other] { $count } Stunden
            }
       *[minutes]
            { $count ->
                [one] einer Minute
               *[other] { $count } Minuten
            }
    }

## Errors

invalid-field = Bitte prüfen Sie Ihre Angaben.
request-id-reused = Dieser Vorgang wurde bereits mit anderen Angaben abgeschickt. Bitte laden Sie die Seite neu.
invalid-page-token = Die Liste kann hier nicht fortgesetzt werden. Bitte beginnen Sie wieder auf der ersten Seite.
customer-not-found = Diese Kundennummer ist uns nicht bekannt.
contact-not-found = Diesen Ansprechpartner gibt es nicht. Vielleicht wurde er inzwischen gelöscht.
confirmation-not-found = Dieser Bestätigungslink ist ungültig. Bitte öffnen Sie den Link aus der neuesten E-Mail.
order-type-not-found = Diese Auftragsart gibt es nicht. Bitte wählen Sie eine andere aus.
phone-order-not-found = Diese Bestellung ist uns nicht bekannt. Möglicherweise wird der Nachweis nicht mehr aufbewahrt.
phone-order-denied = Diese Bestellung wurde abgelehnt. Ein Ergebnis kann deshalb nicht festgehalten werden.
outcome-already-recorded = Für diese Bestellung ist bereits ein Ergebnis festgehalten.
last-standard-contact = Mindestens ein Ansprechpartner muss vom Typ „Standard“ sein. Bitte weisen Sie diesen Typ zuerst einem anderen Ansprechpartner zu.
first-contact-not-standard = Der erste Ansprechpartner muss vom Typ „Standard“ sein. Bitte wählen Sie diesen Typ zusätzlich aus.
invoice-email-not-allowed = Für Rechnungen per E-Mail braucht der Ansprechpartner eine E-Mail-Adresse und den Typ „Standard“ oder „Buchhaltung“.
no-pending-email = Für diesen Ansprechpartner ist keine E-Mail-Adresse mehr zu bestätigen. Bitte laden Sie die Seite neu.
confirmation-expired = Dieser Bestätigungslink ist abgelaufen. Bitte tragen Sie die E-Mail-Adresse noch einmal ein.
confirmation-superseded = Dieser Bestätigungslink gilt nicht mehr, weil die E-Mail-Adresse geändert oder entfernt wurde. Bitte öffnen Sie den Link aus der neuesten E-Mail.
ordering-address-not-on-file = Dies ist nicht die E-Mail-Adresse aus den Kontaktdaten des Kunden. Der Auftrag kann deshalb nicht angenommen werden.
grant-invalid = Der Nachweis der Identität gilt nicht mehr. Bitte prüfen Sie das Telefonpasswort oder einen Code erneut.
cursor-expired = Der Abgleich der Änderungen muss von vorn beginnen.
etag-mismatch = Diese Daten wurden inzwischen geändert. Bitte laden Sie die Seite neu und nehmen Sie Ihre Änderung noch einmal vor.
conflict = Diese Daten werden gerade auch an anderer Stelle geändert. Bitte versuchen Sie es noch einmal.
resend-limit =
    { $limit ->
        [resends] Der Bestätigungslink wurde schon mehrmals verschickt.
        [mails_per_address] An diese Adresse wurden schon mehrere Bestätigungsmails verschickt.
       *[mails_per_customer] Für diesen Kunden wurden in kurzer Zeit zu viele Bestätigungsmails verschickt.
    } Bitte versuchen Sie es in { wait } erneut.
find-limit =
    { $limit ->
        [channel_checks_per_agent] Sie haben in kurzer Zeit zu viele Telefonnummern und E-Mail-Adressen geprüft.
        [customer_searches_per_agent] Sie haben in kurzer Zeit zu viele Kunden gesucht.
       *[channel_checks_per_customer] Für diesen Kunden wurden in kurzer Zeit zu viele Telefonnummern und E-Mail-Adressen geprüft.
    } Bitte versuchen Sie es in { wait } erneut.
phone-call-attempt-limit =
    { $limit ->
        [one] In einem Telefonat ist höchstens ein Versuch möglich.
       *[other] In einem Telefonat sind höchstens { $limit } Versuche möglich.
    } Bitte rufen Sie unter einer hinterlegten Telefonnummer zurück.
agent-blocked = Sie haben zu oft ein falsches Telefonpasswort oder einen falschen Code eingegeben. Bitte versuchen Sie es in { wait } erneut.
contact-limit =
    { $limit ->
        [one] Es ist höchstens ein Ansprechpartner möglich.
       *[other] Es sind höchstens { $limit } Ansprechpartner möglich.
    } Bitte löschen Sie zuerst einen, der nicht mehr gebraucht wird.
token-missing = Bitte melden Sie sich an.
token-invalid = Ihre Anmeldung ist ungültig. Bitte melden Sie sich erneut an.
token-expired = Ihre Anmeldung ist abgelaufen. Bitte melden Sie sich erneut an.
scope-missing = Sie haben für diesen Vorgang keine Berechtigung.
customer-mismatch = Sie haben keinen Zugriff auf die Daten dieses Kunden.
token-keys-unavailable = Ihre Anmeldung kann zurzeit nicht geprüft werden. Bitte versuchen Sie es in { wait } erneut.
database-unavailable = Der Dienst ist zurzeit nicht erreichbar. Bitte versuchen Sie es in Kürze erneut.
overloaded = Der Dienst ist zurzeit ausgelastet. Bitte versuchen Sie es in Kürze erneut.
pepper-missing = Das Telefonpasswort kann zurzeit nicht geprüft werden. Der Versuch wurde nicht gezählt. Bitte versuchen Sie es in Kürze erneut.
deadline = Der Vorgang hat zu lange gedauert. Bitte prüfen Sie, ob Ihre Änderung gespeichert wurde, bevor Sie ihn wiederholen.
internal = Es ist ein Fehler aufgetreten. Bitte versuchen Sie es später erneut, oder melden Sie sich bei uns.
data-loss = Die gespeicherten Daten können nicht gelesen werden. Bitte melden Sie sich bei uns.
unimplemented = Diese Funktion steht nicht zur Verfügung.

## Fields

required = Bitte füllen Sie dieses Feld aus.
name-missing = Bitte geben Sie einen Anzeigenamen ein, oder einen Vor- oder Nachnamen.
choice-missing = Bitte wählen Sie aus, was geändert werden soll.
not-a-code = Bitte geben Sie den Code mit 6 Ziffern ein.
unknown-outcome = Bitte wählen Sie aus, ob die Bestellung aufgegeben wurde.
unknown-event-kind = Diese Art von Ereignis gibt es nicht. Bitte wählen Sie eine andere aus.
not-a-time = Bitte geben Sie ein gültiges Datum mit Uhrzeit ein.
empty-time-range = Das Ende muss nach dem Anfang liegen.
customer-number-missing = Bitte geben Sie auch die Kundennummer ein.
password-given-twice = Bitte geben Sie entweder ein Telefonpasswort ein, oder lassen Sie eines erzeugen.
unknown-salutation = Diese Anrede gibt es nicht. Bitte wählen Sie eine andere aus.
all-customers-not-alone = Bitte wählen Sie entweder alle Kunden oder einzelne Kundennummern aus.
unknown-delivery-status = Bitte geben Sie an, ob die E-Mail zugestellt wurde.
not-an-enhanced-status-code = Bitte geben Sie einen Statuscode wie 5.1.1 ein.
repeated-purpose = Bitte wählen Sie jeden Verwendungszweck nur einmal aus.
types-missing = Bitte wählen Sie mindestens einen Typ aus.
channel-missing = Bitte geben Sie eine Telefonnummer oder eine E-Mail-Adresse ein.
password-missing = Bitte geben Sie ein Telefonpasswort ein, oder lassen Sie eines erzeugen.
ordering-address-missing = Bitte geben Sie die E-Mail-Adresse ein, von der der Auftrag kam.
too-long = Bitte geben Sie höchstens { $max } Zeichen ein.
too-many = Hier sind höchstens { $max } Einträge möglich.
negative = Bitte geben Sie keine negative Zahl ein.
attention-line-too-short = Bitte geben Sie eine Länge von mindestens { $min } Zeichen an.
not-a-single-line = Bitte verwenden Sie keine Zeilenumbrüche und keine unsichtbaren Zeichen. Tippen Sie den Text am besten ein, statt ihn zu kopieren.
control-characters = Der Text enthält Zeichen, die nicht gespeichert werden können. Tippen Sie ihn am besten ein, statt ihn zu kopieren.
not-an-email-address = Bitte geben Sie eine gültige E-Mail-Adresse ein, zum Beispiel name@firma.de.
local-part-length = Bitte geben Sie vor dem @ mindestens ein und höchstens { $max } Zeichen ein.
local-part-characters = Bitte prüfen Sie den Teil vor dem @. Erlaubt sind Buchstaben ohne Umlaute, Ziffern, einzelne Punkte und Zeichen wie - und _.
not-a-domain = Bitte geben Sie nach dem @ einen vollständigen Domainnamen ein, zum Beispiel firma.de.
not-a-phone-number = Bitte geben Sie eine gültige Telefonnummer ein, zum Beispiel +49 721 1234567 oder 0721 1234567.
too-many-digits = Diese Telefonnummer hat mehr als { $max } Ziffern. Bitte geben Sie jede Telefonnummer einzeln ein.
several-phone-numbers = Bitte geben Sie jede Telefonnummer einzeln ein.
incomplete-phone-number = Bitte geben Sie die Telefonnummer mit Vorwahl ein, zum Beispiel +49 721 1234567 oder 0721 1234567.
extension-not-dialable = Diese Durchwahl kann nicht direkt gewählt werden. Bitte geben Sie die Telefonnummer ohne Durchwahl ein.
unknown-locale = Bitte wählen Sie Deutsch oder Englisch aus.
unknown-contact-type = Diesen Typ gibt es nicht. Bitte wählen Sie einen anderen aus.
unknown-purpose = Diesen Verwendungszweck gibt es nicht. Bitte wählen Sie einen anderen aus.
not-an-order-type-code = Bitte geben Sie 1 bis { $max } Zeichen ein. Erlaubt sind Buchstaben ohne Umlaute, Ziffern, Punkte, Unterstriche und Bindestriche.
not-a-customer-number = Bitte geben Sie eine gültige Kundennummer ein. Sie hat höchstens { $max } Zeichen: Buchstaben, Ziffern und Bindestriche.
reserved-customer-number = Diese Kundennummer kann nicht vergeben werden.
other-customer = Der Ansprechpartner gehört zu einer anderen Kundennummer.
unconfirmed = Bitte geben Sie zur Bestätigung dieselbe Kundennummer noch einmal ein.
not-a-uuid = Diese Angabe ist ungültig. Bitte laden Sie die Seite neu.
password-too-short = Das Telefonpasswort muss mindestens { $min } Zeichen haben. Leerzeichen und Bindestriche zählen nicht mit.
password-too-long = Das Telefonpasswort darf höchstens { $max } Zeichen haben. Leerzeichen und Bindestriche zählen nicht mit.
password-too-common = Dieses Telefonpasswort ist zu leicht zu erraten. Bitte wählen Sie ein anderes.
password-is-customer-number = Das Telefonpasswort darf nicht die Kundennummer sein. Bitte wählen Sie ein anderes.
password-is-display-name = Das Telefonpasswort darf nicht der Name des Ansprechpartners sein. Bitte wählen Sie ein anderes.
not-an-updatable-field = Diese Angabe kann nicht geändert werden.
too-large = Die Anfrage ist zu groß. Bitte kürzen Sie Ihre Angaben.
malformed = Die Anfrage kam unvollständig oder beschädigt an. Bitte versuchen Sie es erneut.
