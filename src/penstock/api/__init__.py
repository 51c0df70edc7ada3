"""The HTTP interface: translate, authorise, call a verb or a view. No rules here."""
