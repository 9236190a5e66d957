"""What is written into the inbox to spoil it, and how the demo names each fault, by language."""

from collections.abc import Mapping
from dataclasses import dataclass

QUOTED = 220
"""How often a mail is quoted: about ten thousand tokens, more than any base of the demo reads."""


@dataclass(frozen=True)
class FaultText:
    """The words of one language."""

    personal: Mapping[str, str]
    """A sentence with personal data, by kind; the last kind is the company's own pattern."""
    foreign: tuple[str, str]
    """Two letters in another language, about a burst pipe on 12.02.2026 for 2,400 euros."""
    thread: str
    """What mail programs quote again and again."""
    again: str
    thanks: str
    amount: str
    """An {amount} that is none."""
    date: str
    """A date in words."""
    what: Mapping[str, str]
    """In plain words, by fault; {kind} of personal data."""


ENGLISH = FaultText(
    personal={
        "email": "Please write to wiebke.sander@example.com.",
        "phone": "Her number is +49 40 66969 412.",
        "iban": "Pay into DE89 3704 0044 0532 0130 00.",
        "card": "Was paid by card 4111 1111 1111 1111.",
        "tax_id": "Tax ID 86 095 742 719.",
        "tax_number": "Steuernummer 21/815/08150.",
        "social_insurance": "Pension insurance no. 65 170839 J 003.",
        "id_card": "Identity card no. T220001293.",
        "plate": "The other car had the plate HH-AB 1234.",
        "policy": "Her husband is insured with us too, P-20481632.",
    },
    foreign=(
        "Guten Tag, am 12.02.2026 ist bei uns in der Küche ein Rohr gebrochen und der ganze Boden steht "
        "unter Wasser. Der Klempner war schon da und hat einen Bericht geschrieben, anbei. Die Reparatur "
        "soll ungefähr 2.400 Euro kosten. Bitte melden Sie sich, wie es jetzt weitergeht und ob Sie das "
        "übernehmen.",
        "Sehr geehrte Damen und Herren, im Bad der Mieter war am 12.02.2026 eine Leitung undicht, die Wand "
        "ist durchfeuchtet. Ich rechne mit 2.400 Euro. Der Bericht des Installateurs liegt bei, ich hoffe "
        "auf eine baldige Antwort. Mit freundlichen Grüßen, eine langjährige Kundin aus Altona.",
    ),
    thread="> On the day before that the office wrote: we have received your message and will come back to "
    "you as soon as a colleague has looked into the matter. Please do not reply to this address, nobody "
    "reads it. ",
    again="Sent again, no answer yet.",
    thanks="Thank you.",
    amount="about {amount} or so",
    date="last spring",
    what={
        "no_answer": "a claim that nobody has worked on yet",
        "broken_encoding": "a row from an older system, in Latin-1",
        "broken_row": "a row that the export cut off",
        "exact_duplicate": "sent twice",
        "near_duplicate": "sent again with a line more",
        "contradiction": "two clerks, two answers",
        "label_case": "the team in small letters",
        "label_typo": "the team with a typing error",
        "rare_label": "a team that was closed years ago, two claims",
        "no_number": "an amount in words",
        "schema_break": "a date in words",
        "rule_break": "the claim code of another peril",
        "wrong_answer": "filed under another peril, neatly",
        "too_long": "a mail with all that was ever quoted",
        "other_language": "two letters in German",
        "personal": "personal data: {kind}",
        "leak_near_equal": "nearly the same note in the test",
        "leak_group": "one policyholder on both sides",
        "leak_answer_in_prompt": "the answer, pasted behind the note",
        "leak_time": "a test claim older than the training claims",
    },
)

GERMAN = FaultText(
    personal={
        "email": "Bitte an wiebke.sander@example.com schreiben.",
        "phone": "Ihre Nummer: +49 (0)40 66969-412.",
        "iban": "Bitte auf DE89 3704 0044 0532 0130 00 überweisen.",
        "card": "Bezahlt mit Karte 4111 1111 1111 1111.",
        "tax_id": "Steuer-ID 86 095 742 719.",
        "tax_number": "Steuernummer 21/815/08150.",
        "social_insurance": "Rentenversicherungsnummer 65 170839 J 003.",
        "id_card": "Personalausweis Nr. T220001293.",
        "plate": "Der Unfallgegner hatte das Kennzeichen HH-AB 1234.",
        "policy": "Ihr Mann ist auch bei uns versichert, P-20481632.",
    },
    foreign=(
        "Good morning, on 12.02.2026 a pipe burst in our kitchen and the whole floor is under water. The "
        "plumber has already been here and wrote a report, which I attach. The repair is supposed to cost "
        "about 2,400 euros. Please let me know what happens next and whether you will pay for all of it.",
        "Dear Sir or Madam, a pipe in the bathroom of our tenants was leaking on 12.02.2026 and the wall "
        "is wet through. I reckon with 2,400 euros. You will find the report of the plumber enclosed, and "
        "I hope to hear from you soon. Kind regards, a customer from Altona for many years.",
    ),
    thread="> Am Tag davor schrieb das Büro: Wir haben Ihre Nachricht erhalten und melden uns, sobald sich "
    "eine Kollegin die Sache angesehen hat. Bitte antworten Sie nicht an diese Adresse, hier liest niemand "
    "mit. ",
    again="Noch einmal geschickt, bisher keine Antwort.",
    thanks="Vielen Dank.",
    amount="so etwa {amount} rum",
    date="letztes Frühjahr",
    what={
        "no_answer": "ein Schaden, den noch niemand bearbeitet hat",
        "broken_encoding": "eine Zeile aus einem älteren System, in Latin-1",
        "broken_row": "eine Zeile, die der Export abgeschnitten hat",
        "exact_duplicate": "zweimal geschickt",
        "near_duplicate": "noch einmal geschickt, mit einer Zeile mehr",
        "contradiction": "zwei Sachbearbeiter, zwei Antworten",
        "label_case": "das Team in kleinen Buchstaben",
        "label_typo": "das Team mit Tippfehler",
        "rare_label": "ein Team, das seit Jahren aufgelöst ist, zwei Schäden",
        "no_number": "eine Summe in Worten",
        "schema_break": "ein Datum in Worten",
        "rule_break": "der Schadenschlüssel einer anderen Gefahr",
        "wrong_answer": "fein säuberlich unter einer anderen Gefahr abgelegt",
        "too_long": "eine Mail mit allem, was je zitiert wurde",
        "other_language": "zwei Briefe auf Englisch",
        "personal": "persönliche Daten: {kind}",
        "leak_near_equal": "fast dieselbe Meldung im Test",
        "leak_group": "ein Kunde auf beiden Seiten",
        "leak_answer_in_prompt": "die Antwort, hinter die Meldung kopiert",
        "leak_time": "ein Testfall, der älter ist als die gelernten",
    },
)

TEXTS = {"en": ENGLISH, "de": GERMAN}
