"""``voltd doctor``: listens to a broker and says what is there, which device family fits, and what would be stored.

``listen`` hears, ``fit`` finds families, ``survey`` puts together what was heard, ``report`` says it
to people; ``proposal`` writes the settings that take it.
"""
