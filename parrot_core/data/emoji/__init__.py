"""A real multilingual picture-text set from packages: emoji artwork and the Unicode CLDR's names.

Several designers drew the same concepts independently, and professional translators named them in
every language; so a style can be held out entirely, and every language asks about the same things.
"""
