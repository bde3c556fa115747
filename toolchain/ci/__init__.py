"""`mlship ci`: builds a project's bundles, measures them, and holds them against budgets."""
