package org.example.shop;

/** What kind of thing an article is. */
public enum Category {
    BOOKS,
    LIGHTING,
    KITCHEN,
    STATIONERY
}
