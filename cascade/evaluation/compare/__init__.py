"""Two runs side by side: what was changed, and what that changed.

Light: it reads what the runs left in their folders, and no engine is loaded.
"""
