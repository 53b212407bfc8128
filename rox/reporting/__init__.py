"""Values in, pages out: one self-contained page, one workbook, in English or Chinese."""
