"""One storage class a file format: where every message lies, and the bytes that lie there."""
