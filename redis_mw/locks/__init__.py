"""All of locking: who may do one thing at a time, who waits for it, and what a newcomer must know of those before."""
