"""HTTP as values: requests, fields, cookies, addresses, problem bodies. Parsers and writers, pure."""
