"""What runs inside the container: process 1, which performs the calls of untrusted trails.

Theory of operation. Process 1 is root with three capabilities (SETUID, SETGID, KILL) and nothing else. It
believes the host on its standard input and nobody else. It *wears* the sandbox uid, a random one that only
this sandbox has, for every file operation, so root's rights never meet a path that an attacker chose.
Programs (git, ripgrep, tests, spells) are started as that uid altogether: no capabilities, no descriptors,
no environment of ours, their own session, a deadline, an output cap. What they leave behind is killed
before the call is answered. The run ledger, push bundles and verdicts live in this process's memory, where
that uid reaches nothing.

Only the standard library and this package are imported, and the syntax is Python 3.8's: the code travels to
the container as bytes (``bundle``) and must run on whatever Python an image has. Host and guest share
``wire``, and the ``tree`` modules with which either side walks and fills a directory. A guest starts in a
fresh container, whose files are read from a cold image: what its first call does not need is imported when it
is needed, and of the standard library no more than that (``lean``).
"""
