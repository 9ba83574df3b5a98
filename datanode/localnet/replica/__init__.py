"""What happens to a call or a query that was let in."""
