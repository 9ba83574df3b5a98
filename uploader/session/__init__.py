"""The write path: plan, upload, seal, repair. Each calls the stages in a straight line."""
