"""The layout of the tables by which `program` tells the kernel what to do."""

# Numbers before the tables themselves.
HEADER = 10
# What all parts of the kernel are told of a call: addresses of the first input, of the tables and of room for
# what they work out, how many dims lead from row to row, and the bytes of a number. SPARE_AT is where
# chunks go that are not outputs, and OWN_WEIGHTS_AT where weights that are made for one do.
(
    X, ORIGINS_AT, STRIDES_AT, DIMS, INDEX_AT, RULES_AT, STEPS_AT, WEIGHTS_AT, SIZE, LISTS_AT, MANNER_AT,
    SPARE_AT, OWN_WEIGHTS_AT,
) = range(13)  # fmt: skip
CALL_BYTES = 8 * 13
# Bytes of a row that are worked on at a time where what is made of them is used again: few enough for that
# to stay in the first-level cache; enough that what is done once a chunk costs little.
CHUNK_BYTES = 12 << 10
# The same where it is not: as many as samples at the edges inside them, which are kept meanwhile, allow.
STRETCH_BYTES = 64 << 10
# Those samples, at most an eighth of it and of its first and last period a sixteenth each.
PATCHES_BYTES = STRETCH_BYTES // 4
# Bytes of a line of the cache, and of what loops make at a time at most.
CACHE_LINE = 64
# The weights of three neighbours that are made for a chunk: a row each, with those of two samples more.
OWN_BYTES = CHUNK_BYTES + CACHE_LINE
MOST_LANES = CACHE_LINE // 4
# Bytes after which lines share a set of the first-level cache.
PAGE = 4096
BLOCK_BYTES = 4 * CACHE_LINE
# Rows that are made together, as far as they are whole blocks of so many bytes.
ROWS, ROWS_BYTES = 4, 2 * CACHE_LINE
MOST_DIMS = 64  # as in NumPy
# Columns of the table of terms. Terms of one output are made together, in groups of MEMBERS, which the first
# of them tells; SINGLE ones, whose weights vary inside rows, are groups of their own. TILE is 0, or so many
# samples of a row are worked on at a time, as if there were no edges between them; only a group's first
# member has it. CAREFUL says that some weights are 0. LINE is the address of coordinates, of LINE_BYTES
# each, from which weights are made, or 0. NOTHING is where a row of zeros stands, in bytes from the weights,
# for groups whose sums begin with another's. FETCH is how many bytes beyond the sample itself the cache is to
# fetch, while a group is made, what comes after the furthest that it reads. STREAMABLE says that a group may
# be written past the caches. STRETCH is the samples of a row that are made at a time. TOGETHER says that
# the term reads along the dim that leads from row to row, so that ROWS rows are made together, and
# LINES_TOGETHER the same of the lines inside a row, whose weights differ. EDGE_FIRST and
# EDGE_LAST are how many samples at the beginning of the dim and at its end its edges read, which are brought
# together from many lines to make their edges at once, or 0 where there is no room for them.
(
    OUTPUT, INPUT, ROW_DIM, N, RUN, LOWER, UPPER, RULES, VARYING, TILE, CAREFUL, WIDE, SINGLE, MEMBERS,
    LINE, LINE_BYTES, NOTHING, FETCH, STREAMABLE, STRETCH, TOGETHER,
    LINES_TOGETHER, EDGE_FIRST, EDGE_LAST,
) = range(24)  # fmt: skip
TERM_COLUMNS = 24
TERM_BYTES = 8 * TERM_COLUMNS
# Columns of the table of rules (a rule is a stencil's row), which serves COUNT steps from FIRST on and
# divides by the float with the bits of DIVISOR.
FIRST, COUNT, DIVISOR = range(3)
RULE_COLUMNS = 3
RULE_BYTES = 8 * RULE_COLUMNS
# Columns of the table of steps: byte offsets of the samples of a difference. OTHER stands in for MINUS
# where the sample at MINUS has no weight and must not be read. FIXED tells the offsets, 1 for PLUS and 2 for
# MINUS, that lead not to a sample but to a number over and over, which is kept with the weights.
PLUS, MINUS, OTHER, FIXED = range(4)
STEP_COLUMNS = 4
STEP_BYTES = 8 * STEP_COLUMNS
# Steps that a group of terms may take at one sample.
MOST_STEPS = 64
# Where lists begin, in bytes, of the steps of a group at one sample: of the addresses ahead (at 0) and
# behind, of the factors that the differences take, and of what is to be fetched.
BEHIND, FACTORS, FETCHED = 8 * MOST_STEPS, 16 * MOST_STEPS, 24 * MOST_STEPS
# Where samples are brought together for edges, in bytes after these lists: so many columns at most, each of
# one sample of so many lines, and a column of what is made.
GATHERED = 32 * MOST_STEPS + CACHE_LINE
MOST_COLUMNS, LINES = 48, 64
LISTS_BYTES = GATHERED + (MOST_COLUMNS + 1) * LINES * 8
# How a row is written: past the caches, if STREAMS is not 0. Meanwhile patches are put in the place of what
# is made of samples at edges: so many, WIDTH, that are neighbours, in each PERIOD, from sample ZONE on. They
# lie one after another at address PATCHES. What is carried over, from a line of the cache that is not whole
# yet, belongs to addresses CARRIED_FROM to CARRIED_TO, if that is not 0; the line itself stands
# LINE_CARRIED bytes after the table, with room for vectors that begin before it or end after it.
STREAMS, PATCHES, ZONE, WIDTH, PERIOD, CARRIED_FROM, CARRIED_TO = range(7)
LINE_CARRIED = 2 * CACHE_LINE
MANNER_BYTES = 4 * CACHE_LINE
FAR = 1 << 62  # a zone that no row reaches
# What threads that share a call's work are told after a 1 of the dtype computed in: how many of the call's
# tables they have taken, how many there are, the address of the first, and the bytes from one to the next.
TAKEN, TASKS, TASKS_AT, TASK_BYTES = range(1, 5)
