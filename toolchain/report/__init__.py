"""Pages, tables, JUnit and Markdown: all that a person, or a CI server, is shown."""
