"""The licences of what the picture-text set is made of, to lie beside it."""

from parrot_core.data.emoji.materials import STYLES, Materials
from parrot_core.data.emoji.settings import DemoSettings

_HEAD = """# Licences

This folder was made on this machine from the packages below. Its pictures are their drawings,
cropped and rendered at 128 × 128 pixels on white; its names and keywords are theirs unchanged.
Passing on a part of it means keeping the licence and the attribution of its source; pictures from
a share-alike source (CC-BY-SA) may only be passed on under the same licence.

| package | version | what of it | where in this folder | licence | attribution |
|---|---|---|---|---|---|
"""


def licences_markdown(materials: Materials, *, settings: DemoSettings) -> str:
    """Returns the table of what was used, and the texts that must accompany copies."""
    lines = [_HEAD]
    for source in materials.sources:
        place = "texts and tables"
        if styles := [style for style, origin in STYLES.items() if origin == source]:
            if not set(styles) & set(settings.styles):
                continue
            place = ", ".join(f"`images/{style}/`" for style in styles)
            if not set(styles) & set(settings.training_styles):
                place += ", pictures in `benchmarks/`"
        lines.append(
            f"| {source.package} | {source.version} | {source.provides} | {place} "
            f"| [{source.licence}]({source.licence_url}) | {source.attribution} |\n"
        )
    for package, text in materials.notices.items():
        lines.append(f"\n## {package}\n\n```\n{text.strip()}\n```\n")
    return "".join(lines)
