package org.example.shop.delivery;

/** What one carrier offers. */
public class Quote {
    private String carrier;
    private int days;

    public String getCarrier() {
        return carrier;
    }

    public void setCarrier(String carrier) {
        this.carrier = carrier;
    }

    public int getDays() {
        return days;
    }

    public void setDays(int days) {
        this.days = days;
    }
}
