"""Recall and precision of the removal of person names, apart from other personal data, on ads in six languages.

    .venv/bin/python benchmarks/names.py [--ads 600] [--seed 1] [--model fastino/gliner2.5-base-v1]

Two ways are measured: what every installation does (`clean.personal_data`), which looks for no names and takes out but
those that are part of an e-mail address or a URL; and, where --model names a GLiNER2 checkpoint and the package
gliner2[local] is installed, `clean.names`. Recall: share of the names of which every character was taken out.
Precision: share of the places taken out as names that overlap one. The ads also hold firms, streets and products that
are called after somebody.
"""

import argparse
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from jobtuner.names import find_names
from jobtuner.personal_data import find_personal_data

_Find = Callable[[str], Sequence[tuple[int, int]]]

_NAMES = {
    "en": (("Emily", "James", "Aisha", "Owen"), ("Clarke", "Okafor", "O'Neil", "Whitfield")),
    "de": (("Sabine", "Jürgen", "Ayşe", "Karl-Heinz"), ("Schäfer", "von Bergen", "Yılmaz", "Lehmann")),
    "fr": (("Marie-Claire", "Loïc", "Fatou", "Hervé"), ("Dubois", "Le Gall", "Diallo", "Lefèvre")),
    "es": (("Lucía", "José Luis", "Íñigo", "Carmen"), ("García López", "Núñez", "de la Fuente", "Ortega")),
    "da": (("Mette", "Søren", "Åse", "Lars Erik"), ("Jensen", "Østergaard", "Bach Nielsen", "Holm")),
    "it": (("Giulia", "Paolo", "Niccolò", "Chiara"), ("Rossi", "De Luca", "D'Angelo", "Esposito")),
}
_FRAMES = {
    "en": ("Questions? Ask {name}, our head of nursing.", "Your contact is {name} ({name}, HR)."),
    "de": ("Ihre Ansprechpartnerin ist Frau {name}.", "Bewerbungen an {name}, Personalleitung."),
    "fr": ("Votre interlocuteur : M. {name}.", "Adressez votre CV à {name}, responsable RH."),
    "es": ("Persona de contacto: {name}.", "Envíe su CV a la atención de Dª {name}."),
    "da": ("Kontakt afdelingsleder {name} og hør mere.", "Du kommer til at arbejde sammen med {name}."),
    "it": ("Referente: dott.ssa {name}.", "Inviare la candidatura a {name}, ufficio personale."),
}
_AROUND = {
    "en": (
        "We at Marks & Spencer are hiring a night nurse.",
        "Find us on Victoria Road.",
        "You know Jenkins and Lean.",
    ),
    "de": ("Die Robert Bosch GmbH sucht Pflegekräfte.", "Einsatzort: Karl-Marx-Allee 5.", "Erfahrung mit Jenkins."),
    "fr": ("La société Yves Rocher recrute.", "Lieu : avenue Victor Hugo.", "Vous maîtrisez Pascal et Java."),
    "es": ("Antonio Puig S.A. busca enfermeras.", "Centro en la calle Cervantes.", "Manejo de Ada y Java."),
    "da": ("Carl Hansen & Søn søger en kok.", "Vi holder til på H.C. Andersens Boulevard.", "Kendskab til Jenkins."),
    "it": ("La Giorgio Armani S.p.A. cerca personale.", "Sede in via Garibaldi.", "Conoscenza di Pascal."),
}


@dataclass(frozen=True)
class NameAd:
    """An ad and the names in it."""

    text: str
    spans: tuple[tuple[int, int], ...]
    """Start and end of each, in order."""
    names: tuple[str, ...]


@dataclass(frozen=True)
class NameScore:
    """Counts and shares over all ads."""

    gold: int
    found: int
    recall: float
    precision: float
    """0 where nothing was found."""


def name_ads(count: int, seed: int) -> Iterator[NameAd]:
    """Yield ads of five sentences, one or two of them with names."""
    generator = random.Random(seed)
    for number in range(count):
        language = list(_NAMES)[number % len(_NAMES)]
        frames = generator.sample(_FRAMES[language], generator.choice((1, 2)))
        sentences = [*frames, *_AROUND[language]]
        generator.shuffle(sentences)
        text, spans = "", []
        for sentence in sentences:
            first, last = (generator.choice(part) for part in _NAMES[language])
            before, *rest = sentence.split("{name}")
            text += before
            for piece in rest:
                spans.append((len(text), len(text) + len(f"{first} {last}")))
                text += f"{first} {last}{piece}"
            text += "\n"
        yield NameAd(text.strip(), tuple(spans), tuple(text[start:end] for start, end in spans))


def score(ads: Sequence[NameAd], find: _Find) -> NameScore:
    """How well a finder does."""
    gold = found = recalled = right = 0
    for ad in ads:
        places = find(ad.text)
        covered = {at for start, end in places for at in range(start, end)}
        gold, found = gold + len(ad.spans), found + len(places)
        recalled += sum(covered.issuperset(range(start, end)) for start, end in ad.spans)
        right += sum(any(start < last and first < end for first, last in ad.spans) for start, end in places)
    return NameScore(gold, found, recalled / max(1, gold), right / max(1, found))


def always(text: str) -> list[tuple[int, int]]:
    """What is taken out without GLiNER2."""
    return [(span.start, span.end) for span in find_personal_data(text)]


def main() -> None:
    """Print a line a way."""
    parser = argparse.ArgumentParser(description="Recall and precision of the removal of person names.")
    parser.add_argument("--ads", type=int, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--model", help="GLiNER2 checkpoint, by name or local folder")
    options = parser.parse_args()
    ads = list(name_ads(options.ads, options.seed))
    ways: dict[str, _Find] = {"without GLiNER2 (no names are looked for)": always}
    if options.model:
        ways[f"clean.names = {options.model}"] = lambda text: find_names(text, options.model)
    for name, find in ways.items():
        done = score(ads, find)
        recall = f"recall {done.recall:.4f} of {done.gold:,} names"
        print(f"{name}: {recall}, precision {done.precision:.4f} of {done.found:,} places")
    if not options.model:
        print("clean.names was not measured: give --model.")


if __name__ == "__main__":
    main()
