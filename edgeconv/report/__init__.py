"""Table, Markdown, JUnit and HTML, all from one result model: `edgeconv.results.job`."""
