"""Confinement: where code and files of strangers meet this machine, and what they may touch of it.

Three strengths, weakest first; each keeps what the one before it does.

- `bounds`: limits on memory, time and files for the process that calls it (the decoder of recordings).
- `forked`: a task in a forked child with such limits, which answers bytes or dies alone (readers of documents).
- `jail`: a program of a stranger, in namespaces of its own behind a filter of system calls: no network, no file of this
  machine but the interpreter's, no other process (code in containers). Where the kernel gives less, nothing is run.

`inside` and `view` are programs that the jail starts; they and what they import (`bounds`, `seccomp`, `syscalls`,
`frames`) use the standard library alone.
"""
