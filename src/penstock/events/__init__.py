"""The change stream: what happened, in one agreed order, for everyone who follows."""
