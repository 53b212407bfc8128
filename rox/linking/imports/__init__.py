"""Exports of survey tools and other systems made into tables of a study."""
