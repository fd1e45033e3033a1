"""Proof of units: whether the values of a device are in the unit that they should be in. Pure.

``proof`` compares the values of one device with each other: ``energy`` with power, ``road`` has speed, odometer and
positions, ``charge`` is about the state of charge. ``sums`` adds up what is compared, each sum with its bounds;
``compare`` says which factor lies between two sums, if any is certain. The doctor and the rules use it.
"""
