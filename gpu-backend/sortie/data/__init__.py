"""Training data: files to chats, chats to ids, ids to packed batches."""
