"""Where the model looks: maps of attention, contrasts between conditions or groups, and what speaks against both."""
