"""The span reader: p(answer | trail, question), read off one encoder."""
