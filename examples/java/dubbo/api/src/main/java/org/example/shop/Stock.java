package org.example.shop;

import java.io.Serializable;

/** How much of an article an instance of inventory has. */
public class Stock implements Serializable {
    private static final long serialVersionUID = 1L;

    private String sku;
    private int available;
    private int reserved;
    private String servedBy;

    public String getSku() {
        return sku;
    }

    public void setSku(String sku) {
        this.sku = sku;
    }

    public int getAvailable() {
        return available;
    }

    public void setAvailable(int available) {
        this.available = available;
    }

    public int getReserved() {
        return reserved;
    }

    public void setReserved(int reserved) {
        this.reserved = reserved;
    }

    public String getServedBy() {
        return servedBy;
    }

    public void setServedBy(String servedBy) {
        this.servedBy = servedBy;
    }
}
