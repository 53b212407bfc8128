"""From a company's tables to one linked panel: every table checked, every row accounted for."""
