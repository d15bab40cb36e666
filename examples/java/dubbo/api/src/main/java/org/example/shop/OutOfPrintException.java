package org.example.shop;

/** Says that an article cannot be had any more. It is unchecked and declared nowhere. */
public class OutOfPrintException extends RuntimeException {
    private static final long serialVersionUID = 1L;

    private String sku;

    public OutOfPrintException(String sku) {
        super(sku + " is out of print");
        this.sku = sku;
    }

    public String getSku() {
        return sku;
    }
}
