"""Made weights: what a thing of this description might weigh, in grams.

Owns the list of words and their ranges. Nothing here is measured: the raw file has no weights, and
a rate card needs them. The first word that fits decides, so heavy furniture stands before boxes.
"""

from __future__ import annotations

import re

from penstock.demo.draw import draw

# (words, grams from, grams to)
_RANGES: tuple[tuple[re.Pattern[str], int, int], ...] = tuple(
    (re.compile(rf"\b(?:{words})S?\b"), low, high)
    for words, low, high in (
        ("CABINET|CHEST|BENCH|TABLE|CHAIR|STOOL|LADDER|SHELF|SIDEBOARD|TROLLEY", 3500, 9000),
        ("DOOR ?MAT|RUG|PARASOL|BIRDHOUSE|BIRD BATH|PLANTER|LANTERN", 900, 2200),
        ("MIRROR|CLOCK|LAMP|HOT WATER BOTTLE|CAKESTAND|TEAPOT|BREAD BIN|SCALES", 500, 1400),
        ("UMBRELLA|CUSHION|PILLOW|BLANKET|THROW|QUILT|APRON|TOWEL", 250, 650),
        ("CARD|STICKER|TISSUE|NAPKIN|GIFT ?WRAP|WRAP|POSTCARD|ENVELOPE|BOOKMARK|TAG", 15, 90),
        ("EARRING|NECKLACE|BRACELET|RING|CHARM|BROOCH|HAIR ?CLIP|HAIRGRIP|BANGLE", 8, 60),
        ("PEN|PENCIL|ERASER|RUBBER|RULER|SHARPENER|TATTOO|BALLOON|MAGNET", 10, 120),
        ("RIBBON|GARLAND|BUNTING|FEATHER|PARTY|DECORATION|BAUBLE|LACE", 30, 250),
        ("MUG|CUP|BEAKER|BOWL|PLATE|DISH|JUG|VASE|POT|CERAMIC|SAUCER", 220, 750),
        ("GLASS|GLASSES|BOTTLE|JAR|DECANTER", 200, 800),
        ("CANDLE|T-LIGHT|T-LIGHTS|TEALIGHT|CANDLESTICK|INCENSE|VOTIVE", 80, 500),
        ("LIGHT|FAIRY LIGHT|CHANDELIER", 250, 900),
        ("FRAME|SIGN|PLAQUE|HOOK|HANGER|KNOB", 120, 480),
        ("BAG|PURSE|WALLET|SHOPPER|CASE|BOX BAG", 50, 220),
        ("TIN|BOX|BOXES|BASKET|DRAWER|TRAY", 180, 900),
        ("BOOK|NOTEBOOK|JOURNAL|DIARY|ALBUM|GAME|PUZZLE|JIGSAW", 150, 700),
    )
)
_ANYTHING = (60, 420)
_LEAST_G = 5
_MOST_G_PER_PENNY = 3
_SEVERAL = re.compile(r"\b(?:SET|PACK|BOX) ?(?:OF|/)? ?(?:[2-9]|1[0-9]|2[0-9])\b|\bPIECE\b")


def weight_g(sku: str, name: str, price_minor: int) -> int:
    """Return the grams a piece of this SKU is taken to weigh: seeded, within its words' range.

    No more than its price in pence makes likely, so that snakes and ladders are not furniture.
    """
    words = name.upper()
    low, high = next(
        ((low, high) for pattern, low, high in _RANGES if pattern.search(words)), _ANYTHING
    )
    factor = 1.6 if _SEVERAL.search(words) else 1.0
    # Light things are commoner than heavy ones: drawn on a logarithmic scale.
    drawn = round(low * (high / low) ** draw("weight", sku) * factor)
    return max(_LEAST_G, min(drawn, _MOST_G_PER_PENNY * price_minor + _LEAST_G))
