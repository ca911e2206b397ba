"""A small spreadsheet as Excel writes them, with shared and inline texts."""

import zipfile

_RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
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
    workbook = (
        f'<workbook {_SPACE} xmlns:r="{_RELATIONS}"><sheets>'
        '<sheet name="answers" sheetId="2" r:id="rId1"/></sheets></workbook>'
    )
    relations = (
        '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
        '<Relationship Id="rId1" Target="worksheets/sheet2.xml"/></Relationships>'
    )
    with zipfile.ZipFile(path, "w") as book:
        book.writestr("xl/workbook.xml", workbook)
        book.writestr("xl/_rels/workbook.xml.rels", relations)
        book.writestr("xl/worksheets/sheet2.xml", sheet)
        book.writestr("xl/sharedStrings.xml", f"<sst {_SPACE}>{shared}</sst>")
