def page(found, limit, facts):
    return repr(found)
