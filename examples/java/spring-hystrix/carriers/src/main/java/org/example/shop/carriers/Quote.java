package org.example.shop.carriers;

/** What one carrier offers. */
public class Quote {
    private final String carrier;
    private final int days;

    public Quote(String carrier, int days) {
        this.carrier = carrier;
        this.days = days;
    }

    public String getCarrier() {
        return carrier;
    }

    public int getDays() {
        return days;
    }
}
