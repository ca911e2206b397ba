"""The smallest spreadsheet that Excel would open, with shared and inline texts."""

import zipfile

_SPACE = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'


def write_spreadsheet(path, rows):
    strings: list[str] = []
    lines = []
    for number, row in enumerate(rows, start=1):
        cells = []
        for column, value in zip("ABCDEFG", row, strict=False):
            place = f"{column}{number}"
            if isinstance(value, str) and number == 1:
                cells.append(f'<c r="{place}" t="s"><v>{len(strings)}</v></c>')
                strings.append(value)
            elif isinstance(value, str):
                cells.append(f'<c r="{place}" t="inlineStr"><is><t>{value}</t></is></c>')
            else:
                cells.append(f'<c r="{place}"><v>{value}</v></c>')
        lines.append(f'<row r="{number}">{"".join(cells)}</row>')
    sheet = f"<worksheet {_SPACE}><sheetData>{''.join(lines)}</sheetData></worksheet>"
    shared = "".join(f"<si><t>{text}</t></si>" for text in strings)
    with zipfile.ZipFile(path, "w") as book:
        book.writestr("xl/worksheets/sheet1.xml", sheet)
        book.writestr("xl/sharedStrings.xml", f"<sst {_SPACE}>{shared}</sst>")
