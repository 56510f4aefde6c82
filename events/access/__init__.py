"""Who may do what: from a token, or a login of the admin, to a grant (`events.domain.grants`).

shared.py       the tokens of WS_AUTH_TOKEN
store.py        access tokens in the database: create, find, revoke
signed.py       signed tokens (JWT) of the platform's login
identify.py     any of these to its grant
authority.py    the same for the event loop, with a small cache
questions.py    the threads in which the event loop has the database asked
watch.py        ends what a token does not allow any more
login.py        the admin's login: who guesses passwords has to wait
http.py         who may call which view: a bearer token, or the session of a member of staff
"""
