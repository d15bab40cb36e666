package org.example.shop.carriers;

/** How badly the carriers do, for whoever wants to see what their callers make of it. */
public class Faults {
    private int errorPercent;
    private int delayMillis;

    public int getErrorPercent() {
        return errorPercent;
    }

    public void setErrorPercent(int errorPercent) {
        this.errorPercent = errorPercent;
    }

    public int getDelayMillis() {
        return delayMillis;
    }

    public void setDelayMillis(int delayMillis) {
        this.delayMillis = delayMillis;
    }
}
