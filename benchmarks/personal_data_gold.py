"""Job ads with known personal data: the gold set behind `personal_data.py` and the tests of `jobtuner.personal_data`.

Every ad is put together from pieces, so that the exact place of each e-mail address, phone number, IBAN, URL, handle and
street address is known. Formats are those of eleven countries, written here by hand and not by the detector's rules;
the digits are drawn at random. Between them stand numbers that must survive: salaries, dates, hours, post codes,
occupation codes, VAT and company numbers, reference numbers, norms and versions.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["LANGUAGES", "GoldAd", "GoldSpan", "gold_ads"]

LANGUAGES = ("en", "de", "fr", "es", "da", "it")


@dataclass(frozen=True)
class GoldSpan:
    """A piece of personal data: characters `start` to `end` of the ad."""

    start: int
    end: int
    kind: str


@dataclass(frozen=True)
class GoldAd:
    """An ad, its language and what must be found in it."""

    text: str
    language: str
    spans: tuple[GoldSpan, ...]


# "#" stands for a digit, "¤" for a digit from 1 to 9.
_DIGITS = {"#": "0123456789", "¤": "123456789"}
_PHONES = {
    "en": (
        "020 7### ####", "+44 20 7### ####", "+44 (0)20 7### ####", "0113 496 0###", "07### ######", "07### ### ###",
        "+44 7### ######", "+447#########", "(01632) 960###", "01632 960 ###", "0044 161 496 0###", "0800 ### ####",
        "(¤##) 555-01##", "¤##-555-01##", "¤##.555.01##", "+1 ¤## 555 01##", "+1 (¤##) 555-01##", "1-800-555-01##",
        "+1-¤##-555-01##", "+353 1 ### ####", "087 ### ####", "01 ### ####",
    ),
    "de": (
        "030 ########", "030/########", "(030) #### ####", "+49 30 ########", "+49 (0)30 ######", "+49 151 ########",
        "0151 ########", "0151-########", "0171/#######", "089 - ## ## ## ##", "06221 / ¤# ## - ##", "0 62 21/¤# ## ##",
        "0049 171 #######", "+4989######", "0711.######", "+43 1 ### ## ##", "0664 ### ## ##", "+41 44 ### ## ##",
        "044 ### ## ##", "0041 79 ### ## ##", "040 / ¤#####-0", "(0 30) ¤# ## ## ##", "0211 – ¤## ## ##",
    ),
    "fr": (
        "01 ## ## ## ##", "01.##.##.##.##", "06-##-##-##-##", "+33 1 ## ## ## ##", "+33 (0)6 ## ## ## ##", "0033 6########",
        "06########", "0 800 ### ###", "+33.4.##.##.##.##", "+33612######", "02/##/##/##/##", "+32 2 ### ## ##",
        "02 ### ## ##", "0470 ## ## ##", "+32 (0)470 ## ## ##", "0476/## ## ##",
    ),
    "es": (
        "91 ### ## ##", "9## ### ###", "6## ### ###", "6## ## ## ##", "+34 6## ### ###", "0034 9########",
        "(+34) 93 ### ## ##", "6########", "900 ### ###", "+34 91 ### ## ##", "+34-6##-###-###", "93.###.##.##",
        "+52 55 #### ####", "+34¤########",
    ),
    "da": (
        "¤# ## ## ##", "+45 ¤# ## ## ##", "+45¤#######", "0045 ¤# ## ## ##", "¤### ####", "¤#######", "(+45) ¤# ## ## ##",
        "+45 ¤### ####", "+47 ¤## ## ###", "08-### ## ##", "070-### ## ##", "+46 70 ### ## ##", "+46 (0)8 ### ## ##",
    ),
    "it": (
        "02 ########", "06 #### ####", "+39 02 ########", "3## #######", "3## ### ## ##", "+39 3## ### ####",
        "0039 055 ######", "055/######", "800 ### ###", "02-########", "+39 3#########", "+39 055 ### ###", "081 ### ####",
        "3#########", "3##.#######",
    ),
}  # fmt: skip
_BARE = frozenset(
    {"¤#######", "¤### ####", "6########", "3#########", "01 ### ####"}
)  # nobody writes these without a word before
_PHONE_WORDS = {
    "en": ("Phone: ", "Tel: ", "Call us on ", "Call ", "T: ", "Mobile ", "phone ", "Questions? Ring ", "WhatsApp: ", "Telephone "),
    "de": ("Tel.: ", "Telefon: ", "Tel. ", "Fon: ", "Mobil: ", "Rufen Sie uns an: ", "telefonisch unter ", "Handy: ", "Fax: "),
    "fr": ("Tél. : ", "Téléphone : ", "Tél ", "Appelez le ", "Portable : ", "contact au ", "joignable au ", "Tel: "),
    "es": ("Tel.: ", "Teléfono: ", "Tfno. ", "Llámanos al ", "Móvil: ", "llamar al ", "WhatsApp ", "Tlf: "),
    "da": ("Tlf. ", "Telefon: ", "tlf.: ", "Ring på ", "Mobil: ", "Ring til Mette på ", "på telefon ", "T: "),
    "it": ("Tel. ", "Telefono: ", "Cell. ", "Chiama il ", "chiamare il numero ", "tel: ", "Cellulare ", "contattare "),
}  # fmt: skip

_FIRST = (
    "anna",
    "max",
    "sophie",
    "lucia",
    "mette",
    "paolo",
    "john",
    "j.p",
    "marie-claire",
    "søren",
    "m",
    "o'neil",
    "jürgen",
)
_LAST = ("schmidt", "garcia", "jensen", "rossi", "martin", "smith", "de-vries", "berg", "novak")
_BOXES = (
    "jobs",
    "hr",
    "karriere",
    "recrutement",
    "empleo",
    "info",
    "lavoro",
    "bewerbung+berlin",
    "no_reply",
    "job-2024",
)
_FIRMS = (
    "acme",
    "nord-sued",
    "kaffeebar",
    "grupo-sol",
    "fjord",
    "bianchi",
    "smithandco",
    "hospital",
    "cafe24",
    "xn--mller-kva",
)
_ENDINGS = {
    "en": ("co.uk", "com", "org", "io", "ie"),
    "de": ("de", "at", "ch", "com", "gmbh"),
    "fr": ("fr", "be", "com", "paris"),
    "es": ("es", "com", "cat", "com.mx"),
    "da": ("dk", "no", "se", "com"),
    "it": ("it", "com", "eu", "online"),
}
_IBANS = {  # ISO 13616 registry: country to account characters ("n" digit, "a" letter)
    "en": ("GB", "aaaannnnnnnnnnnnnn"),
    "de": ("DE", "nnnnnnnnnnnnnnnnnn"),
    "fr": ("FR", "nnnnnnnnnnnnnnnnnnnnnnn"),
    "es": ("ES", "nnnnnnnnnnnnnnnnnnnn"),
    "da": ("DK", "nnnnnnnnnnnnnn"),
    "it": ("IT", "annnnnnnnnnnnnnnnnnnnnn"),
}
_STREETS = {
    "en": ("{n} High Street, London SW1A 1AA", "{n} Station Road", "Unit {n}, Mill Lane, Leeds LS1 4AP", "{n}b Queen's Avenue", "{n} Main St."),
    "de": ("Hauptstraße {n}, 10115 Berlin", "Bahnhofstr. {n}", "Am Alten Markt {n}a, 50667 Köln", "Goetheallee {n}", "Lange Gasse {n}, 1080 Wien"),
    "fr": ("{n} rue de la Paix, 75002 Paris", "{n} bis, avenue Victor Hugo", "{n}, boulevard des Alpes, 38000 Grenoble", "{n} place du Marché"),
    "es": ("Calle Mayor {n}, 28013 Madrid", "C/ Alcalá, {n}", "Avda. de la Constitución, {n}, 41001 Sevilla", "Paseo de Gracia {n}"),
    "da": ("Vesterbrogade {n}, 1620 København V", "Nørregade {n}", "Strandvejen {n}B, 8000 Aarhus C", "Søndre Allé {n}, 2. tv."),
    "it": ("Via Roma {n}, 20121 Milano", "Corso Garibaldi, {n}", "Piazza del Duomo {n}, 50122 Firenze", "Viale Europa {n}/A"),
}  # fmt: skip

_DECOYS = {
    "en": (
        "Salary: £24,500-27,000 a year.", "$¤#,### - $1##,### per annum.", "£1¤.## an hour, up to 40 hours.", "Start: 01/09/2024.",
        "Closing date 2024-05-31 at 17:30.", "ISCO-08 code 2512, ESCO 2512.4.1, SOC 15-1252.00.", "VAT no. GB¤## #### ##.",
        "Reference: 2024/0¤###-¤##.", "Job ID 100200¤##.", "Ref. 0123¤#####.", "Company number 0¤######.", "Postcode M1 1AE.",
        "ISO 9001:2015 and ISO 27001.", "Python 3.11, .NET 8.0, C++20.", "1,200,000 users, 24/7 support.", "The years 2019-2023.",
        "Shift 06:00-14:00 or 1400-2200.", "25 days holiday, 37.5 hours, 4 x 10.", "NOC 2021 version 21231; SIC 62020.", "2 000 000 pallets a year.",
        "Meet us @ the fair.", "Grade 7, 80% FTE.", "We use ASP.NET and Node.js daily.", "UTR ¤#### #####.", "Order 4500¤##### of 12/03/2024.",
    ),
    "de": (
        "Gehalt: 45.000–52.000 € brutto.", "2.450,00 EUR im Monat, 13,5 Gehälter.", "Eintritt zum 01.09.2024.", "Bewerbungsfrist: 31.12.2024, 12:00 Uhr.",
        "Kennziffer ¤####/2024.", "Kennziffer 2024 0815 4711.", "Referenznr. 0815-4711-¤##.", "KldB 2010: 43413, ISCO 2512.", "USt-IdNr. DE¤########.",
        "HRB ¤#####, Amtsgericht Köln.", "Steuernummer 12/345/¤####.", "40239 Düsseldorf.", "DIN EN ISO 13485:2016.", "37,5 Stunden, 30 Tage Urlaub.",
        "Schicht 06.00-14.00 Uhr.", "1.200.000 Kunden seit 1998.", "Die Jahre 2019-2023.", "Entgeltgruppe E 13 TV-L, 75 %.", "Chiffre 100 200 3¤#.",
        "Projektvolumen 1 500 000 Euro.", "SAP S/4HANA 2023, Java 17.0.2.", "Stellen-ID: 4¤#######.", "UID ATU¤#######.", "BA-Nr. 10000-¤#########-S.",
    ),
    "fr": (
        "24 000 à 27 500 € brut par an.", "2 500,00 € par mois sur 13 mois.", "Début le 01/09/2024.", "Avant le 31.12.2024 à 17h30.", "Code ROME M1805, ISCO 2512.",
        "SIRET ¤## ### ### 000##.", "SIREN ¤## ### ###.", "TVA FR ¤# ¤########.", "Réf. : 2024-0¤###.", "Référence 0123¤#####.", "75002 Paris.",
        "35 heures, 25 jours de congés.", "De 8h00 à 16h30.", "1 200 000 clients depuis 1998.", "Norme ISO 9001:2015.", "Coefficient 250, niveau 5.",
        "Offre n° 18¤#####.", "Les années 2019-2023.", "Convention collective IDCC 1486.", "Excel 2019, SAP R/3 4.7.", "BE 0¤##.###.### (TVA).", "NAF 6201Z.",
    ),
    "es": (
        "18.500-21.000 € brutos al año.", "1.450,50 € al mes en 14 pagas.", "Inicio: 01/09/2024.", "Hasta el 31-12-2024 a las 14:00.", "CNO 2711, ISCO 2512.",
        "CIF B¤#######.", "NIF ESB¤#######.", "Ref. 2024/0¤###.", "Referencia 0123¤#####.", "28013 Madrid.", "40 horas, 23 días de vacaciones.",
        "De 08:00 a 16:00.", "1.200.000 clientes desde 1998.", "ISO 9001:2015.", "Los años 2019-2023.", "Oferta núm. 100200¤##.", "Código 15-1252.00.",
        "Grupo 2, nivel 3.", "Java 17.0.2, SAP 4.7.", "Expediente ¤####/2024.", "25 000 000 de euros de facturación.",
    ),
    "da": (
        "28.500-31.000 kr. om måneden.", "Timeløn 185,50 kr.", "Start 01.09.2024.", "Frist: 31-12-2024 kl. 12.00.", "DISCO-08 2512, ESCO 2512.4.",
        "CVR-nr. ¤#######.", "CVR: DK¤#######.", "Sagsnr. 2024-0¤###.", "Jobnummer 100200¤##.", "Reference 0123¤#####.", "8000 Aarhus C.", "37 timer, 6 ugers ferie.",
        "Kl. 08.00-16.00.", "1.200.000 kunder siden 1998.", "ISO 9001:2015.", "Årene 2019-2023.", "Løntrin 4, 32 timer.", "Windows Server 2022, Java 17.0.2.",
        "EAN 57980¤########.", "1 500 000 DKK i budget.", "Stillingsnr. ¤####-¤###.", "P-nummer 10¤########.",
    ),
    "it": (
        "24.000-27.500 € lordi annui.", "1.450,00 € al mese per 14 mensilità.", "Inizio 01/09/2024.", "Entro il 31.12.2024 alle 18:00.", "CP2021 2.7.1.1, ISCO 2512.",
        "P. IVA IT¤##########.", "P.IVA 0¤#########.", "Rif. 2024/0¤###.", "Riferimento 0123¤#####.", "20121 Milano.", "40 ore, 26 giorni di ferie.", "Dalle 08:00 alle 16:30.",
        "1.200.000 clienti dal 1998.", "ISO 9001:2015.", "Gli anni 2019-2023.", "Livello 3, CCNL Commercio.", "Codice 100200¤##.", "Annuncio n. 18¤#####.",
        "Java 17.0.2, SAP 4.7.", "REA MI-¤######.", "Fatturato 25 000 000 euro.",
    ),
}  # fmt: skip
_TASKS = {
    "en": ("We look for a nurse for our ward.", "You plan routes and talk to drivers.", "Forklift licence welcome.", "Our team of 12 grows."),
    "de": ("Wir suchen eine Pflegekraft für unsere Station.", "Sie planen Touren und sprechen mit Fahrern.", "Staplerschein von Vorteil."),
    "fr": ("Nous cherchons une infirmière pour notre service.", "Vous planifiez les tournées.", "CACES 3 apprécié.", "Une équipe de 12 personnes."),
    "es": ("Buscamos enfermera para nuestra planta.", "Planificas rutas y hablas con conductores.", "Carné de carretillero."),
    "da": ("Vi søger en sygeplejerske til vores afdeling.", "Du planlægger ruter og taler med chauffører.", "Truckcertifikat B er et plus."),
    "it": ("Cerchiamo un'infermiera per il nostro reparto.", "Pianifichi i giri e parli con gli autisti.", "Patentino del muletto gradito."),
}  # fmt: skip
_EMAIL_WORDS = ("E-Mail: ", "Mail: ", "", "→ ", "(", "Apply: ", "Kontakt: ", "mailto:", "<")
_URL_WORDS = ("Web: ", "", "(", "LinkedIn: ", "Apply at ", "See ")
_HANDLE_WORDS = ("Instagram: ", "Twitter/X: ", "Telegram ", "TikTok: ", "")
_IBAN_WORDS = ("IBAN: ", "IBAN ", "Konto ", "", "Bank: ")
_ADDRESS_WORDS = {
    "en": "Address: ",
    "de": "Anschrift: ",
    "fr": "Adresse : ",
    "es": "Dirección: ",
    "da": "Adresse: ",
    "it": "Indirizzo: ",
}
_SEPARATORS = ("\n", " ", "\n\n", "\n- ")


def gold_ads(count: int, seed: int = 0) -> Iterator[GoldAd]:
    """Yield `count` ads, the languages in turn; equal seeds give equal ads."""
    for number in range(count):
        language = LANGUAGES[number % len(LANGUAGES)]
        yield _ad(language, random.Random(f"{seed}/{number}"))


def _ad(language: str, draw: random.Random) -> GoldAd:
    makers = {"EMAIL": _email, "PHONE": _phone, "IBAN": _iban, "URL": _url, "HANDLE": _handle, "ADDRESS": _address}
    kinds = draw.choices(list(makers), weights=(4, 6, 2, 3, 1, 2), k=draw.randint(1, 4))
    sentences = [makers[kind](language, draw) for kind in kinds]
    sentences += [[(_digits(text, draw), "")] for text in draw.sample(_DECOYS[language], draw.randint(3, 6))]
    sentences += [[(text, "")] for text in draw.sample(_TASKS[language], 2)]
    draw.shuffle(sentences)
    text, spans = "", []
    for sentence in sentences:
        text += draw.choice(_SEPARATORS) if text else ""
        for piece, kind in sentence:
            if kind:
                spans.append(GoldSpan(len(text), len(text) + len(piece), kind))
            text += piece
    return GoldAd(text, language, tuple(spans))


def _digits(pattern: str, draw: random.Random) -> str:
    return "".join(draw.choice(_DIGITS.get(char, char)) for char in pattern)


_Pieces = list[tuple[str, str]]


def _phone(language: str, draw: random.Random) -> _Pieces:
    pattern = draw.choice(_PHONES[language])
    number = _digits(pattern, draw)
    bare = pattern not in _BARE and draw.random() < 0.25
    before = (
        draw.choice(("", "Anna Berg, ", "Frau Klein ", "M. Petit – ")) if bare else draw.choice(_PHONE_WORDS[language])
    )
    return [(before, ""), (number, "PHONE"), (draw.choice((".", "", ",", " (8-16)")), "")]


def _email(language: str, draw: random.Random) -> _Pieces:
    local = draw.choice(_BOXES) if draw.random() < 0.5 else f"{draw.choice(_FIRST)}.{draw.choice(_LAST)}"
    domain = f"{draw.choice(_FIRMS)}.{draw.choice(_ENDINGS[language])}"
    if draw.random() < 0.2:
        domain = f"mail.{domain}"
    form = draw.choice(("{l}@{d}",) * 7 + ("{l} (at) {d}", "{l}[at]{d}", "{l} @ {d}"))
    address = form.format(l=local, d=domain)
    address = address.title() if draw.random() < 0.1 and "(" not in address and "[" not in address else address
    before = draw.choice(_EMAIL_WORDS)
    after = {"(": ")", "<": ">"}.get(before, draw.choice((".", "", ",", "!")))
    return [(before, ""), (address, "EMAIL"), (after, "")]


def _iban(language: str, draw: random.Random) -> _Pieces:
    country, form = _IBANS[language]
    account = "".join(
        draw.choice("ABCDEFGHKLMNPRSTUVWXYZ") if mark == "a" else draw.choice("0123456789") for mark in form
    )
    number = int("".join(str(int(char, 36)) for char in account + country + "00"))
    iban = f"{country}{98 - number % 97:02d}{account}"  # check digits as in ISO 7064 MOD 97-10
    if draw.random() < 0.6:
        iban = " ".join(iban[start : start + 4] for start in range(0, len(iban), 4))
    elif draw.random() < 0.1:
        iban = iban.lower()
    return [(draw.choice(_IBAN_WORDS), ""), (iban, "IBAN"), (draw.choice((".", "", ",", ";")), "")]


def _url(language: str, draw: random.Random) -> _Pieces:
    firm, ending = draw.choice(_FIRMS), draw.choice(_ENDINGS[language])
    name = f"{draw.choice(('anna', 'max', 'paolo', 'mette'))}-{draw.choice(_LAST)}"
    url = draw.choice(
        (
            f"https://www.linkedin.com/in/{name}-{draw.randint(100, 99999)}/", f"linkedin.com/in/{name}", f"www.xing.com/profile/{name}",
            f"https://{firm}.{ending}/jobs?id={draw.randint(1, 99999)}&ref=a_b", f"http://{firm}.{ending}", f"www.{firm}.{ending}/karriere/#stelle",
            f"github.com/{name}", f"https://t.me/{name.replace('-', '_')}", f"facebook.com/{firm}.jobs", f"instagram.com/{firm}_{ending.split('.')[0]}",
            f"https://wa.me/4915{draw.randint(100000000, 999999999)}", f"x.com/{name.replace('-', '')}", f"HTTPS://{firm.upper()}.{ending.upper()}/JOBS",
            f"twitter.com/@{name.replace('-', '_')}", f"https://youtu.be/{draw.randint(10**6, 10**7)}aB",
        )
    )  # fmt: skip
    before = draw.choice(_URL_WORDS)
    return [(before, ""), (url, "URL"), (")" if before == "(" else draw.choice((".", "", ",", "!")), "")]


def _handle(_language: str, draw: random.Random) -> _Pieces:
    name = draw.choice(
        (
            f"{draw.choice(_LAST)}_jobs",
            f"{draw.choice(_FIRMS)}.{draw.choice(('hr', 'team', 'life'))}",
            f"{draw.choice(('anna', 'max'))}{draw.randint(1, 99)}",
        )
    )
    return [
        (draw.choice(_HANDLE_WORDS), ""),
        (f"@{name.replace('xn--', '').replace('-', '_')}", "HANDLE"),
        (draw.choice(("", ",", "!", ")")), ""),
    ]


def _address(language: str, draw: random.Random) -> _Pieces:
    street = draw.choice(_STREETS[language]).format(n=draw.randint(1, 240))
    return [
        (_ADDRESS_WORDS[language] if draw.random() < 0.5 else "", ""),
        (street, "ADDRESS"),
        (draw.choice((".", "", ";")), ""),
    ]
