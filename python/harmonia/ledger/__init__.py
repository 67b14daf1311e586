"""The tamper-evident record of consents and circles' rules, which outsiders verify with public tools."""
