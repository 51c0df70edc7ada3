"""Access: accounts and channels, and later clients, users, roles and tokens."""
