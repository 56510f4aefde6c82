"""Who may do what: from a token, or a login of the admin, to a grant (`events.domain.grants`).

shared.py       the tokens of WS_AUTH_TOKEN
identify.py     any token to its grant
http.py         who may call which view: a bearer token, or the session of a member of staff
"""
