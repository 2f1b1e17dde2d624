"""Operations that torch's own form does in more time or memory than they need."""
